"""One run, or several seeds as one program: `python -m lib.training CONFIG`.

inputs            what a setting is trained on, prepared once
optimizers        optimisers and schedules, by name
learners          one model, or a batch of seeds as one program
loop              the training loop over either
evaluation        what a trained model says, and how far it moved
generation        the same of runs that generate texts
experiment        build, train, evaluate, record
finetune          all runs that are missing: trained and saved, each once
model_features    models themselves, where a record is not enough: their weights and features
"""
