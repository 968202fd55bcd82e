"""Fits heads on embeddings under torchrun and writes what became of them; see test_loop."""

import gc
import sys

import torch

from tests.core.training.test_loop import RECIPE, new_fit

if __name__ == "__main__":
    fit = new_fit(RECIPE)
    fit.run()
    values = fit.values(range(20))
    accelerator = fit.accelerator
    if accelerator.is_main_process:
        saved = {"weights": fit.state_dict()["weights"], "log": fit.state.log, "values": values}
        torch.save({**saved, "processes": accelerator.num_processes}, sys.argv[1])
    accelerator.wait_for_everyone()
    fit.release()
    gc.collect()
    accelerator.end_training()
