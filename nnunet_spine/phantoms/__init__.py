"""The synthetic cohort: spine MRI with intradural tumors, from an analytic anatomy or in real volumes."""
