"""Shared module of the compendium on the instability of fine-tuning.

One idea a module; the notebooks tell the stories:

paths         where things are, and how they are written and locked
errors        errors that say what to do
checks        one strict checker, and its errors in a sentence
config        typed settings, strict checks of parameters
grids         configuration files: settings, seeds, studies, jobs
job_kinds     jobs beside the grids: their notebooks and values
parameters    the parameters that a notebook declares, checked before it is executed
provenance    commit, versions and fingerprints of code
assets        pinned packages turned into files (archives takes them out, sdists
              fetches a source distribution without building it)
rows          the rows of a task, and splits that keep groups together
tasks         labelled text with fixed columns and splits: the registry
              (wheel_tasks, bigbench_tasks, file_tasks and hub_tasks read them;
              cloze: what an answer to a cloze question earns)
own_task      the same from a table of your own
batches       tokenised examples, and batches of like lengths
preparation   from a task to what one setting trains and evaluates on
seeds         the random streams of a run
conversions   models that come as ONNX, GGUF or in parts, made into folders once
backbones     pretrained models, under a new head; where their parts are
pretrained    where pretrained models are, and what identifies them
objectives    masked words and next words
pretraining   more of the model's own pretraining, on the task's texts
scoring       what a single run scores, and its status
devices       where things are computed, and that twice gives the same
loading       padded batches, cut out on the device
layers        the layers that stabilizers put into a model
stabilizers   methods of fine-tuning: mixout, llrd, lora, …
methods       the words in which a setting names them
optimizers    optimisers and schedules, by name
learners      one model alone, or several seeds as one program
inputs        what all runs of a setting start from, prepared once
training      the training loop over either
evaluation    what a trained model says, and how far it moved
experiment    one run: build, train, evaluate, record
finetune      all runs that are missing: trained and saved, each once
runs          the run store
progress      what is done of a configuration, and what is missing
jobs          what the Snakefile asks before it plans
reference     the committed results: promoted a group at a time
tables        tidy tables of results: writing and reading
groups        from the runs of a group to its tables, and to its measures again
measures      instability at three granularities: scores, predictions, representations
resampling    what S runs can support: intervals from resampling runs, and the jackknife
summary       every measure, by name
run_group     S runs of a group, wherever they come from, and every measure of them
validity      do measures of one thing agree, and do they show what is known?
consistency   do they agree on which group is unstable?
comparison    two settings against each other; many comparisons
multibootstrap  more runs, or more test examples?
planning      how many seeds an estimate needs
crossed       crossed designs in a table of runs: every init seed with every order seed
variance      which stream of randomness makes runs differ, and what the best of n is worth
transfer      does a lucky seed transfer to other tasks?
ladder        how often runs fail at each learning rate, and where half of them do
failing       what the training of failed runs looks like
bounds        stability bounds: statements, solvers, problems, sweeps
frozen        features of a pretrained encoder, for linear heads
perturbations  models that differ in known ways, to test the measures on
tuned         fine-tuned models: their features; runs on fewer rows
predictions   what a theory says of a quantity, and what came about
sizes         how large models and tasks are, known without having them
work          what runs take: operations, bytes, jobs
timing        how long they take: fitted to measured runs, and held against others
costs         what a configuration would take (costs_page: the page about all)
outside       runs made elsewhere: the formats (outside_files opens the files,
              outside_values aligns, checks and numbers what they hold)
appraisal     what they amount to: every measure, as tables
reading       the same in plain words
report        the same as a page
plots         figures, byte-reproducible and with alternative text
plots_seeds   figures of crossed designs
plots_failing  figures of failed runs
plots_validity  figures about measures
plots_bounds  figures of stability bounds
plots_theory  figures of theory beside real runs
"""
