"""`ninesight demo`: the whole path on one machine, with a fault, an alert and its webhook."""
