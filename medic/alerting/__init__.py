"""From "an alert opened" to "somebody was told": stages, queues, one file a notifier."""
