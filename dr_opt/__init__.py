"""Which households should move how much electricity from which half-hour to which other, so that the grid emits least."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Every public name and the module it lives in; a module is only imported when one of its names is used, so that
# `import dr_opt` and `dr-opt --help` stay quick.
_HOME = {
    "ArcMask": "problem",
    "Calendar": "calendar",
    "Check": "tables",
    "CitySum": "problem",
    "Columns": "readings",
    "Conservation": "constraints.conservation",
    "Constraints": "scenario",
    "ConveniencePrioritised": "models",
    "CustomerChoice": "tables",
    "CustomerSum": "problem",
    "DrOptError": "basics",
    "FactorColumns": "readings",
    "HighUsageFocus": "models",
    "HouseholdMinimumUsage": "constraints.technical",
    "ImpactPrioritised": "models",
    "InputError": "basics",
    "Limit": "problem",
    "MaxCustomerShift": "constraints.behavioural",
    "MaxMovesPerDay": "constraints.behavioural",
    "MaxMovesPerWeek": "constraints.behavioural",
    "MaxShiftWindow": "constraints.behavioural",
    "MinDayPotential": "constraints.conservation",
    "MinMoveSize": "constraints.behavioural",
    "MoveCount": "problem",
    "NoAverageIncrease": "constraints.conservation",
    "NoNewSpike": "constraints.technical",
    "OnlySavingMoves": "constraints.conservation",
    "Output": "scenario",
    "Parallel": "scenario",
    "PeakHourComfort": "constraints.behavioural",
    "Period": "tables",
    "Plan": "plan",
    "Readings": "readings",
    "RegionalShiftCap": "constraints.technical",
    "Relaxation": "relaxation",
    "Scenario": "scenario",
    "SlotLimit": "problem",
    "SolverChoice": "scenario",
    "SolverError": "basics",
    "Tables": "tables",
    "backends": "solver.selection",
    "check_at_most": "tables",
    "check_shifts": "problem",
    "compare": "sweeps",
    "families": "solver.selection",
    "frontier": "sweeps",
    "optimise": "pipeline",
    "parameter": "basics",
    "plot_duration": "curves",
    "plot_frontier": "curves",
    "plot_household_week": "curves",
    "plot_households": "plots",
    "plot_load": "plots",
    "plot_marginal_against_average": "plots",
    "plot_moves": "plots",
    "plot_moves_distribution": "plots",
    "plot_savings_by_hour": "plots",
    "plot_sweep": "curves",
    "read_plan": "plan",
    "read_readings": "readings",
    "register_limit": "problem",
    "register_metric": "metrics",
    "scenario_form": "widgets",
    "shadow_prices": "sensitivity",
    "solvers": "solver.selection",
    "sweep": "sweeps",
    "synthesise": "synthesis",
    "write_report": "report",
}

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from dr_opt.basics import DrOptError, InputError, SolverError, parameter
    from dr_opt.calendar import Calendar
    from dr_opt.constraints.behavioural import (
        MaxCustomerShift,
        MaxMovesPerDay,
        MaxMovesPerWeek,
        MaxShiftWindow,
        MinMoveSize,
        PeakHourComfort,
    )
    from dr_opt.constraints.conservation import Conservation, MinDayPotential, NoAverageIncrease, OnlySavingMoves
    from dr_opt.constraints.technical import HouseholdMinimumUsage, NoNewSpike, RegionalShiftCap
    from dr_opt.curves import plot_duration, plot_frontier, plot_household_week, plot_sweep
    from dr_opt.metrics import register_metric
    from dr_opt.models import ConveniencePrioritised, HighUsageFocus, ImpactPrioritised
    from dr_opt.pipeline import optimise
    from dr_opt.plan import Plan, read_plan
    from dr_opt.plots import (
        plot_households,
        plot_load,
        plot_marginal_against_average,
        plot_moves,
        plot_moves_distribution,
        plot_savings_by_hour,
    )
    from dr_opt.problem import ArcMask, CitySum, CustomerSum, Limit, MoveCount, SlotLimit, check_shifts, register_limit
    from dr_opt.readings import Columns, FactorColumns, Readings, read_readings
    from dr_opt.relaxation import Relaxation
    from dr_opt.report import write_report
    from dr_opt.scenario import Constraints, Output, Parallel, Scenario, SolverChoice
    from dr_opt.sensitivity import shadow_prices
    from dr_opt.solver.selection import backends, families, solvers
    from dr_opt.sweeps import compare, frontier, sweep
    from dr_opt.synthesis import synthesise
    from dr_opt.tables import Check, CustomerChoice, Period, Tables, check_at_most
    from dr_opt.widgets import scenario_form

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Imports the module behind a public name when the name is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'dr_opt' has no attribute '{name}'")
    found = getattr(import_module(f"dr_opt.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
