"""What all records in the files of a run share."""

from pydantic import BaseModel, ConfigDict


class FileRecord(BaseModel):
    # NaN and infinity become the strings "NaN" and "Infinity", which JSON can hold and pydantic reads back.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        ser_json_inf_nan="strings",
        protected_namespaces=(),
    )
