"""``python -m lib.training CONFIG`` trains what is missing of a configuration."""

from lib.training.finetune import main

main()
