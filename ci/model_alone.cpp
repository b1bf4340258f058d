// Linked with every object of model/ and nothing else: it links only if the model needs nothing.
int main() {}
