"""Judges configurations by the schema; JSON in, JSON out: for each file the places that are wrong."""

import json
import sys

import yaml
from jsonschema import Draft202012Validator


def wrong(validator, path):
    with open(path, encoding="utf-8") as file:
        errors = validator.iter_errors(yaml.safe_load(file))
    return sorted({".".join(map(str, error.absolute_path)) for error in errors})


job = json.load(sys.stdin)
Draft202012Validator.check_schema(job["schema"])
validator = Draft202012Validator(job["schema"])
json.dump([wrong(validator, path) for path in job["files"]], sys.stdout)
