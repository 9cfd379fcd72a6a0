"""What the engine asks and tells: what to execute, status, promotion of results.

jobs        what there is to execute for a configuration
status      what is done, failed and missing
run         `make run` for a person
promotion   committed results, a group at a time
"""
