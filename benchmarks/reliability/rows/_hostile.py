"""Checkpoints that somebody made to harm whoever opens them: every form as a function that writes one."""

from __future__ import annotations

import codecs
import importlib
import operator
import os
import pickle
import pydoc
import runpy
import struct
import subprocess
import zipfile
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reliability.harmful import (
    CANARY,
    COMMAND,
    EVIL,
    MARKER,
    OTHER,
    PAYLOAD,
    SPLIT,
    Calls,
    Document,
    State,
    applied,
    assembled,
    calling,
    chain,
    claimed,
    code,
    crowded,
    extra,
    legacy,
    memory,
    nonsense,
    number,
    outside,
    overlapping,
    patched,
    placed,
    protocol,
    renamed,
    scripted,
    sealed,
    settings,
    stretched,
    text,
    twice,
    view,
    whole,
    zipped,
)

LAUGHS = chain(60)
NET = {"class_path": f"{CANARY}.Net", "init_args": {}}
GIANT = {"class_path": "lit_ae.nn.MLPEncoder", "init_args": {"hidden": [1_000_000, 1_000_000]}}
CROWD = {"class_path": "lit_ae.nn.MLPEncoder", "init_args": {"hidden": [1] * 2_000}}
OURS = ["fit", f"--trust-import={CANARY}", f"--model={CANARY}.Net"]
SHELL, TOUCH, HUB = {"command": COMMAND}, COMMAND.split(), {"repo_or_dir": ".", "model": "x", "source": "local"}
LADDER = {"_class_path": "lit_ae.models.HierarchicalVAE", "channels": [4], "blocks": [10**9], "latent_dim": 2}
BYTES = b"\0" * (1 << 28)
ROWS = {"rows": [torch.zeros(2, 2)]}
DESCRIBED: dict[str, Document] = {  # what is wrong is the description of the model, here and in a run's config.yaml
    "_instantiator os.system": {"_instantiator": "os.system"},
    "_instantiator of a foreign module": {"_instantiator": f"{CANARY}.Net"},
    "_class_path of a foreign module": {"_class_path": f"{CANARY}.Net"},
    "_class_path os.system": {"_class_path": "os.system", "command": COMMAND},
    "_class_path of our command line": {"_class_path": "lit_ae.cli.main", "argv": OURS},
    "an encoder of a foreign module": {"encoder": NET},
    "an optimizer of a foreign module": {"optimizer": NET},
    "a scheduler of a foreign module": {"lr_scheduler": NET},
    "a function of a foreign module": {"encoder": f"{CANARY}.Net"},
    "a module behind one of ours": {"encoder": {"class_path": "lit_ae.stamps.os.system", "init_args": SHELL}},
    "subprocess as likelihood": {"likelihood": {"class_path": "subprocess.getoutput", "init_args": {"cmd": COMMAND}}},
    "torch.hub as prior": {"prior": {"class_path": "torch.hub.load", "init_args": HUB}},
    "a file named like its module": {"_class_path": f"{EVIL}.Model"},
    "a file named like the module of its encoder": {"encoder": {"class_path": f"{EVIL}.Net", "init_args": {}}},
    "a huge latent": {"latent_dim": 10**9},
    "a large latent": {"latent_dim": 10**6},
    "a huge layer": {"encoder": GIANT},
    "many layers": {"encoder": CROWD},
    "many blocks": LADDER,
    "a huge sample": {"spec": {"input_shape": [1, 100_000, 100_000]}},
    "many classes": {"spec": {"num_classes": 10**10, "condition_shape": []}},
    "many settings": {"columns": list(range(300_000))},
}
NONSENSE: dict[str, Any] = {  # in the place of what Lightning restores
    "numbers": 7,
    "lists": [[1], "x"],
    "other keys": {"fit_loop": {"state_dict": 1}, "state": {"0": None}, "param_groups": [{}]},
}
PLACES = ("callbacks", "epoch", "global_step", "hyper_parameters", "loops", "lr_schedulers", "optimizer_states")
PLACES += ("pytorch-lightning_version", "state_dict")

FORMS: dict[str, Callable[[Path, Document], None]] = {
    # code
    "os.system": calling(os.system, COMMAND),
    "exec": calling(exec, f"open('{MARKER}', 'w')"),
    "eval": calling(eval, f"open('{MARKER}', 'w')"),
    "open": calling(open, MARKER, "w"),
    "subprocess": calling(subprocess.check_call, TOUCH),
    "import_module": calling(importlib.import_module, CANARY),
    "__import__": calling(__import__, CANARY),
    "runpy": calling(runpy.run_module, CANARY),
    "pydoc.locate": calling(pydoc.locate, CANARY),
    "operator.methodcaller": applied(operator.methodcaller("system", COMMAND), Calls(importlib.import_module, "os")),
    "getattr": calling(getattr, Calls(importlib.import_module, CANARY), "Net"),
    "codec": extra([Calls(codecs.register, __import__), Calls(codecs.encode, "x", CANARY)]),
    "torch.hub": applied(partial(torch.hub.load, model="x", source="local"), "."),
    "torch.load in torch.load": applied(partial(torch.load, weights_only=False), OTHER),
    "load_from_bytes": calling(torch.storage._load_from_bytes, PAYLOAD),
    "pickle in pickle": calling(pickle.loads, PAYLOAD),
    "code in hyper_parameters": placed("hyper_parameters", "latent_dim"),
    "code in state_dict": placed("state_dict", "extra"),
    "code in callbacks": placed("callbacks", "extra"),
    "code in loops": placed("loops", "extra"),
    "a network": lambda path, held: sealed(path, {**held, "state_dict": torch.nn.Linear(2, 2)}),
    "a partial": applied(partial(os.system), COMMAND),
    "a foreign class": code(whole(f"c{CANARY}\nNet\n)R".encode())),
    "a foreign class, NEWOBJ": code(whole(f"c{CANARY}\nNet\n)\x81".encode("latin1"))),
    "a foreign class, INST": code(whole(f"(i{CANARY}\nNet\n".encode())),
    "a foreign class, OBJ": code(whole(f"(c{CANARY}\nNet\no".encode())),
    "a foreign class, STACK_GLOBAL": code(whole(text(CANARY) + text("Net") + b"\x93")),
    "an extension": code(whole(b"ccopyreg\nadd_extension\n(" + text(CANARY) + text("Net") + b"K\1tR0\x82\1)R")),
    "a state": extra(State()),
    "a name with a newline": code(whole(text(SPLIT) + text("Net") + b"\x93)R")),
    "two pickles": code(whole(b"}") + whole(b"cos\nsystem\n(" + text(COMMAND) + b"tR")),
    "protocol 0": protocol(0),
    "protocol 4": protocol(4),
    "protocol 5": protocol(5),
    "a plain pickle": lambda path, held: path.write_bytes(PAYLOAD) and None,
    "torch's old format": legacy,
    "TorchScript": scripted,
    # shapes
    "a tensor beyond its record": code(whole(view([1 << 34], [1]))),
    "a storage beyond its record": code(whole(view([1 << 34], [1], numel=1 << 34))),
    "an offset beyond the record": code(whole(view([1], [1], offset=1 << 40))),
    "a negative offset": code(whole(view([1], [1], offset=-(1 << 30)))),
    "a negative stride": code(whole(view([16], [-1]))),
    "a stretched tensor": code(whole(view([1 << 40], [0]))),
    "a stretched version": stretched("pytorch-lightning_version"),
    "stretched names of means": lambda path, held: stretched("means", "names")(path, {**held, "means": dict(ROWS)}),
    "a stretched random state": stretched("lit_ae", "generators", 0, "numpy"),
    "a stretched metric": stretched("lit_ae", "metrics", "val/loss"),
    "a record that is not there": code(whole(view([1], [1], key="7"))),
    "a record by a path": code(whole(view([1], [1], key="../version"))),
    "one record in many tensors": memory,
    # memory
    "a bytearray": code(whole(b"cbuiltins\nbytearray\n(" + number(1 << 36) + b"tR")),
    "a meta tensor": code(whole(b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(N(t(t\x89tR")),
    "tuples of tuples": code(LAUGHS),
    "a deep list": code(whole(b"]" * 100_000 + b"a" * 99_999)),
    "many lists": code(whole(b"](" + b"]" * 4_000_000 + b"e")),
    "many marks": code(b"\x80\x02" + b"(" * 4_000_000 + b"."),
    "a full memo": code(whole(b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(1_000_000)))),
    "a wide string": code(whole(text("\U0001f600" + "a" * 30_000_000))),
    "a long number": code(whole(b"\x8b" + struct.pack("<I", 1_000_000) + b"\1" * 1_000_000)),
    # the archive
    "a packed record": zipped(zipfile.ZIP_DEFLATED, **{"data/0": BYTES}),
    "packed instructions": zipped(zipfile.ZIP_LZMA, **{"data.pkl": whole(b"]" * (1 << 26))}),
    "an archive in an archive": zipped(zipfile.ZIP_DEFLATED, **{"data/0": b"PK\3\4" + BYTES}),
    "overlapping records": patched(overlapping),
    "a record of 4 GiB": patched(claimed),
    "four billion records": patched(crowded),
    "two ends": patched(twice),
    "bytes in front": patched(lambda content: b"#!/bin/sh\n" + content),
    "a record outside": patched(renamed(b"archive/../../x")),
    "an absolute record": patched(renamed(b"/rchive/data/12")),
    "a record twice": patched(renamed(b"archive/data/11")),
    "constants.pkl": lambda path, held: assembled(path, {"data.pkl": whole(b"}"), "constants.pkl": PAYLOAD}),
}

FORMS |= {form: settings(changed) for form, changed in DESCRIBED.items()}
ODD = {f"{what} in {place}": nonsense(place, value) for what, value in NONSENSE.items() for place in PLACES}
ODD |= {f"no {place}": nonsense(place) for place in PLACES}
FORMS |= ODD
FORMS["a path outside the run"] = outside
LIES = {"_instantiator os.system", "_instantiator of a foreign module"}
STRETCHED = {"stretched names of means", "a stretched random state", "a stretched metric"}
UNFIT = {"a huge sample"}  # which the data do not have, status 3
HARMLESS = {"a path outside the run", *LIES, *ODD, *STRETCHED}  # may be opened: by what does not read that part


NAMED = {form: f"{EVIL}.ckpt" for form in DESCRIBED if form.startswith("a file named")}


def write(form: str, path: Path, sound: Document) -> None:
    """Write a hostile file."""
    FORMS[form](path, deepcopy(sound))
