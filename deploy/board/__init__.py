"""The half that runs on the board: releases, the switch between them, and the way back.

Python's standard library alone, 3.11 and later. It travels as one executable zip file (``deploy.bundle``), together
with what the board lacks, and stays there as ``/opt/edgewren/agent.pyz``.
"""
