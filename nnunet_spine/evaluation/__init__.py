"""The judgement: metrics per case, figures per fold, models side by side, the source deck's table."""
