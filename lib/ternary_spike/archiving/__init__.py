"""A preset's results as one zip file for a repository of data: packed, described as an RO-Crate, and checked.

``preset`` finds the files of a preset and verifies them, ``origins`` says which runs a table or a figure came from,
``code`` reads trees from git, ``crate`` writes the metadata, ``texts`` what people read, ``packing`` the zip file, and
``check``, which needs nothing but Python, verifies one.
"""
