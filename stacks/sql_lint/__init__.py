"""What MySQL (8.4 LTS, 9.7) would refuse of partition DDL, said before any server is asked.

``lint`` takes the text of a file and yields findings. The statements are read by hand
(``statements``, ``reader``, ``expressions``, ``schemes``, ``tables``): sqlglot 30, the well-kept
parser, reads no RANGE COLUMNS, HASH, KEY, SUBPARTITION or ADD PARTITION of MySQL, and keeps no
place in the text, which corrections need.

How a statement is judged: the rules are asked in the server's order, the first error is corrected
in the text, and the corrected text is judged again, until nothing is left. So the findings of a
statement are what the server would say one after the other, and what is proposed has passed.
"""

from stacks.sql_lint.judge import Finding, lint, lint_all

__all__ = ["Finding", "lint", "lint_all"]
