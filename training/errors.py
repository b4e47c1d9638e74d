"""What can go wrong in training by the fault of its inputs; commands print it without a trace."""


class TrainingError(Exception):
    """Something that the user gave can't be used. The message says what, where and why."""
