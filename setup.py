"""Packaging: everything is read from settings.ini, the one place the version and the requirements are kept."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
settings = config["DEFAULT"]

extras = {name.removesuffix("_requirements"): settings[name].split() for name in settings if name.endswith("_requirements")}
extras["all"] = sorted({requirement for group in extras.values() for requirement in group})

tree = f"{settings['git_url']}/{{}}/{settings['branch']}/"
readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
readme = re.sub(r"(?<=!)(\[[^\]]*\]\()(?!https?://|#)", lambda link: link.group() + tree.format("raw"), readme)  # pictures
readme = re.sub(
    r"(?<!!)(\[[^\]]*\]\()(?!https?://|#)", lambda link: link.group() + tree.format("blob"), readme
)  # pages: a package index has none

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    project_urls={
        "Documentation": settings["doc_host"] + settings["doc_baseurl"],
        "Source": settings["git_url"],
        "Changelog": tree.format("blob") + "CHANGELOG.md",
        "Issues": settings["git_url"] + "/issues",
    },
    license="Apache-2.0",
    keywords=settings["keywords"],
    packages=find_packages(include=["dr_opt", "dr_opt.*"]),
    package_data={"dr_opt": ["data/*", "templates/*", "py.typed"]},
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    entry_points={
        "console_scripts": settings["console_scripts"].split(),
        "nbdev": [f"{settings['lib_name']}={settings['lib_name']}._modidx:d"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Framework :: Jupyter",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering",
        "Topic :: Scientific/Engineering :: Mathematics",
        "Typing :: Typed",
    ],
)
