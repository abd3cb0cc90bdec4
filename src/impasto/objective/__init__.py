"""What training minimises: the autoencoder's losses and the prior's."""
