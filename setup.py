"""Packaging: everything is read from settings.ini, the one place the version and the requirements are kept."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
settings = config["DEFAULT"]

extras = {name.removesuffix("_requirements"): settings[name].split() for name in settings if name.endswith("_requirements")}
extras["all"] = sorted({requirement for group in extras.values() for requirement in group})

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    license="Apache-2.0",
    keywords=settings["keywords"],
    packages=find_packages(include=["dr_opt", "dr_opt.*"]),
    package_data={"dr_opt": ["data/*", "templates/*", "py.typed"]},
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": settings["console_scripts"].split(), "nbdev": [f"{settings['lib_name']}={settings['lib_name']}._modidx:d"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering",
    ],
)
