"""Where somebody was seen, and why: exact search over stored features, the site's history as text and as pages."""
