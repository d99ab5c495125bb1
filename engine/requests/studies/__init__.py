"""Studies: plans of many runs that answer one question together. Each has a module that makes its plan."""
