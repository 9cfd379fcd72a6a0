"""What is to be trained: settings, their seeds, grids of them, and parameters of notebooks.

settings     a setting: everything that defines a fine-tuning but its seed
seeds        the random streams of a run
grids        configuration files
parameters   the parameters that a notebook declares
job_kinds    jobs beside the grids
"""

from lib.config.settings import (  # noqa: F401 (the room's own names)
    FIRST_FIELDS,
    Setting,
    check_parameters,
    from_row,
    to_row,
)
