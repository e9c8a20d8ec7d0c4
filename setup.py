"""The compiled part: cffi builds arje/native at install time; everything else is in pyproject.toml."""

from setuptools import setup

# The module keeps to the stable ABI (cffi sees to that), so that one wheel is for every CPython from 3.11 on.
setup(cffi_modules=["arje/native/build.py:ffi"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
