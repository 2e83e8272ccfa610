"""The commands of the repository; the Python behind them is in `script.lib` and needs the standard library only."""
