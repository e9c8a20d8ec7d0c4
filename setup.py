"""The compiled part: cffi builds arje/native at install time; everything else is in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["arje/native/build.py:ffi"])
