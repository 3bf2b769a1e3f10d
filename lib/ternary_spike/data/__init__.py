"""The datasets: one module each turns the dataset's own files into the form that training reads."""
