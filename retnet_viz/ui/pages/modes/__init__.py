"""The modes at work: the page, and its views as files of their own."""
