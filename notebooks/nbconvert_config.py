"""How `make figures` executes notebooks: outputs and tags are kept, times and versions are not.

For one of them: ``python -m nbconvert --config notebooks/nbconvert_config.py --to notebook
--execute --inplace NOTEBOOK``.
"""

c = get_config()  # noqa: F821
c.ExecutePreprocessor.record_timing = False
# Text that was printed in one go, however it was cut on its way from the kernel.
c.NotebookExporter.preprocessors = ["nbconvert.preprocessors.CoalesceStreamsPreprocessor"]
c.ClearMetadataPreprocessor.enabled = True
c.ClearMetadataPreprocessor.clear_cell_metadata = False
c.ClearMetadataPreprocessor.preserve_nb_metadata_mask = {"kernelspec", ("language_info", "name")}
