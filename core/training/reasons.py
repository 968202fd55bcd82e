"""Why the fields of recipes are as they are: for people who are about to change one."""

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "optimizer": "adamw reaches in seconds what takes sgd minutes; adam decays as ridge regression; sgd is published.",
    "learning_rate": "Of 0.0003 to 0.003 that were tried for frozen; 0.0005 is the paper's (section V.B).",
    "schedule": "Down to nothing, so that it ends by itself; the paper's is constant.",
    "momentum": "The released code's, for sgd; adam has its own.",
    "weight_decay": "Strong for frozen: a panel is noisier than it is large. Of 0.1 to 10 tried on held-out systems.",
    "batch_size": "The paper's; a small panel goes in one step, which ranks all of it.",
    "micro_batch": "Bounds memory, changes no result: about 12 GB for the official tower in float32.",
    "epochs": "Of 20 to 190 tried for frozen, 30 were about the best on held-out systems, and too few for 100 clips.",
    "patience": "Where the learning rate ends at nothing there is nothing to stop; the paper's recipe ends by it.",
    "precision": "float32 is equal on every device within its error; bfloat16 is faster and moves scores a little.",
    "compile": "A minute at the beginning, then about half the time of a step: for long runs on a GPU.",
    "activation": "The paper says MLP (section V.A); affine is what the authors released.",
    "start": "From the mean no epochs are spent on finding it; where towers learn, gradients nearly cancel out there.",
    "loss": "L1 is the paper's; bins take into account how sure the raters' mean is.",
    "ranking": "What is reported is an order of clips; towers that learn have too little of a batch in memory for it.",
    "margin": "A point is a step of the scale.",
    "pair_weight": "Pairs and ratings pull at the same heads: more hears more faults, and agrees less with people.",
    "stop_on": "SRCC is what is reported; of fewer than 20 clips it is mostly chance.",
    "attention": "Some moments tell more than others.",
    "product": "Lets alignment learn which numbers of both embeddings matter.",
    "tokens": "A prompt asks for several things, and each is heard elsewhere in the clip.",
    "hidden": "Linear heads; a layer more has more to learn from as few clips.",
    "bound": "What was never heard stays near the mean.",
    "dropout": "Against learning a small panel by heart.",
    "seeds": "One is the least; several are averaged, and take as many times the training.",
}
