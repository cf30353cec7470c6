#!/bin/sh
exec sleep 9
