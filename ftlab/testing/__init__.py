"""What tests of ftlab and of its plug-ins are built from: a tiny model, fakes, and contract classes to inherit."""
