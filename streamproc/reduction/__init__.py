"""Reduction: from detector counts to profiles with variance; knows arrays and files, no documents."""
