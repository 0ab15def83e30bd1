"""The type checker behind the shape checks of ``conftest.py``: beartype, for which an int is also a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
