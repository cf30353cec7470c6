"""Test beds: Debian roots, booted machines, networks, git servers, trees and fake commands."""
