"""What the engine asks and tells: jobs, status, promotion of results.

jobs        what there is to do of a configuration
status      what is done, failed and missing
promotion   committed results, a group at a time
"""
