"""What a CUDA GPU has to say of this project: questions, the most valuable first."""
