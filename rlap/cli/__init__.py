"""What the commands ``rlap sweep`` and ``rlap ledger`` print (``rlap_command``)."""
