"""Which genres belong together, and whether it matters: groupings derived, compared with controls, and trained."""
