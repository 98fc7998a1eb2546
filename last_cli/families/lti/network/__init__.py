"""The networks around S5 and S4D layers. Families name theirs, so that it is imported when a model is built."""

CLASSIFIER = "last_cli.families.lti.network.classifier:CLASSIFIER"
