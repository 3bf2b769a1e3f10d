"""What the package needs of files, processes and machines; nothing here knows of spikes."""
