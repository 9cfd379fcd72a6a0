"""Pretrained weights, a new head on them, and the methods of fine-tuning.

pretrained    where pretrained models are, and what identifies them
conversions   models that come as ONNX, GGUF or in parts, made into folders once
backbones     pretrained models as classifiers; where their parts are
generators    pretrained models that generate texts
layers        layers that methods put into a model
stabilizers   methods of fine-tuning: mixout, llrd, lora, …
methods       the words in which a setting names them
pretraining   more of the model's own pretraining, on the task's texts
devices       where things are computed, and that twice gives the same
"""
