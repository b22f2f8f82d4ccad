"""The saved page: what a page shows, recorded, and the page that shows it without a kernel."""
