"""What is forbidden (rules, detectors), how it is found (`match`, `classifiers`), and what may be released."""
