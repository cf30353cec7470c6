"""The tests of PioT; docs/testing.md tells where a new one belongs."""
