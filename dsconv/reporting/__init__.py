"""The output of a run: the metrics log, the evaluation report, its pictures and tables.

Importing this package is fast: scikit-learn, SciPy, matplotlib, jinja2 and tabulate are imported only when used.
"""

from dsconv.reporting.metrics_log import MetricsLog, read_metrics
from dsconv.reporting.tables import markdown_table, text_table
from dsconv.reporting.write import write_report

__all__ = ['MetricsLog', 'markdown_table', 'read_metrics', 'text_table', 'write_report']
