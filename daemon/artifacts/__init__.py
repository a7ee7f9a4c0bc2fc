"""Artifacts: where result files are kept, in Supabase Storage or in a local folder.

A file's path names the claim that made it, so two runs of one job never write the same file, and
what a stale run uploaded can be removed without asking who owns it now.
"""
