"""Road graphs: from a mask to nodes and edges. Empty until graphs are built."""
