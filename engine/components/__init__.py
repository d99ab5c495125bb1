"""Components: what a config names and other people may add. A component's config section is its registration.

A registry holds the components of one kind: `sections` of which a run has one, `parts` that are used
together, names without keys in `registry`. Built-in components are registered when their module is imported;
installed packages name theirs as entry points (`outside`); a single file is loaded by `load_plugin`. Nothing
here, and no module that registers a component, imports torch: a section imports what it needs in its `build`.

Other people's code imports these names.
"""

from engine.components.origin import ComponentError
from engine.config.fields import Section, option

__all__ = ["ComponentError", "Section", "option"]
