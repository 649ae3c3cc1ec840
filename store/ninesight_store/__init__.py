"""Keep samples and histograms durably; hand them back as numpy columns."""
