//! The composition root: builds the parts, joins them by channels, stops them.
