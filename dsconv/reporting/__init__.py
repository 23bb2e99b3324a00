"""What a run leaves for a person to read: the metrics log, the evaluation report, its pictures and tables.

Light to import: TensorFlow, scikit-learn and matplotlib are imported by the functions that use them.
"""

from dsconv.reporting.metrics_log import MetricsLog, read_metrics
from dsconv.reporting.report import write_report
from dsconv.reporting.table import markdown_table, text_table

__all__ = ['MetricsLog', 'markdown_table', 'read_metrics', 'text_table', 'write_report']
